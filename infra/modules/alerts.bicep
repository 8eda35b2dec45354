// One alert on the latency objective of each tier that is deployed. Bounds come from shared/config/slo.toml by way of
// the parameters file; a test holds the two equal.
param location string
param tags object
param suffix string
param workspaceId string
param alertGroupIds array
@description('Function app to watch; empty: none.')
param functionName string
param functionBoundMs int
@description('Container app to watch; empty: none.')
param containerAppId string
param containerBoundMs int
@description('Load balancer of the GPU machines; empty: none.')
param balancerId string

resource functionLatency 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = if (!empty(functionName)) {
  name: 'alert-function-p95-${suffix}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Function: p95 above ${functionBoundMs} ms'
    severity: 2
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          // Below 20 requests a p95 is the slowest one.
          query: 'AppRequests | where AppRoleName =~ "${functionName}" | summarize p95 = percentile(DurationMs, 95), requests = count() | where requests >= 20 and p95 > ${functionBoundMs}'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: alertGroupIds }
    autoMitigate: true
  }
}

// The platform meters an average, no percentile: this fires later than the objective is missed. Load tests judge it.
resource containerLatency 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(containerAppId)) {
  name: 'alert-container-mean-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Container: mean answer time above ${containerBoundMs} ms'
    severity: 2
    enabled: true
    scopes: [containerAppId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'mean'
          metricName: 'ResponseTime'
          timeAggregation: 'Average'
          operator: 'GreaterThan'
          threshold: containerBoundMs
        }
      ]
    }
    actions: [for id in alertGroupIds: { actionGroupId: id }]
  }
}

// A machine that is not ready in time answers nothing at all; its own figures are at /metrics.
resource gpuReady 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(balancerId)) {
  name: 'alert-gpu-ready-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'GPU: machines behind the load balancer are not ready'
    severity: 2
    enabled: true
    scopes: [balancerId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'ready'
          metricName: 'DipAvailability'
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 90
        }
      ]
    }
    actions: [for id in alertGroupIds: { actionGroupId: id }]
  }
}
