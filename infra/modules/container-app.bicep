// An app of the container tier, or the GPU image on a serverless GPU: the profile and the size decide which.
param name string
param location string
param tags object
param environmentId string
param identityId string
param identityClientId string
param registryServer string
@description('Image to run; empty: a public sample that holds the place until the first push.')
param image string
@description('Workload profile of the environment.')
param profile string
@description('Cores, such as 2 or 0.5.')
param cpu string
@description('Memory, such as 4Gi.')
param memory string
@description('INFERENCE_ settings of this app, by name.')
param settings object
@description('Requests that one replica takes before another is started: what it really computes at once, and a few that wait.')
@minValue(1)
param concurrentRequests int
@minValue(0)
@maxValue(1000)
param minReplicas int = 0
@minValue(1)
@maxValue(1000)
param maxReplicas int
@description('Seconds between startup probes; ten of them is the time that a start may take.')
@minValue(1)
@maxValue(240)
param startupPeriodSeconds int
@description('Storage account and queue whose messages also start replicas; empty: none.')
param queueAccountName string = ''
param queueName string = ''
@description('Address ranges that may call; empty: every one that can reach it.')
param allowedRanges array

var port = 8000
var isPlaceholder = empty(image)
// ASPNETCORE_HTTP_PORTS is read by the placeholder, so that it answers where the app will: azd then swaps the image alone.
var platformVariables = [
  { name: 'AZURE_CLIENT_ID', value: identityClientId }
  { name: 'ASPNETCORE_HTTP_PORTS', value: '${port}' }
]
var inferenceVariables = [for setting in items(settings): { name: setting.key, value: setting.value }]

var probes = [
  {
    type: 'Startup'
    httpGet: { path: '/v2/health/ready', port: port }
    periodSeconds: startupPeriodSeconds
    timeoutSeconds: 5
    failureThreshold: 10
  }
  {
    type: 'Readiness'
    httpGet: { path: '/v2/health/ready', port: port }
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 3
  }
  {
    type: 'Liveness'
    httpGet: { path: '/v2/health/live', port: port }
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  }
]

var httpRule = [
  {
    name: 'requests'
    http: { metadata: { concurrentRequests: '${concurrentRequests}' } }
  }
]
var queueRule = [
  {
    name: 'jobs'
    custom: {
      type: 'azure-queue'
      metadata: { accountName: queueAccountName, queueName: queueName, queueLength: '1' }
      identity: identityId
    }
  }
]

resource app 'Microsoft.App/containerApps@2025-07-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: profile
    configuration: {
      activeRevisionsMode: 'Single'
      maxInactiveRevisions: 3
      registries: [{ server: registryServer, identity: identityId }]
      ingress: {
        // In an internal environment this reaches as far as the virtual network, no further.
        external: true
        allowInsecure: false
        targetPort: port
        transport: 'auto'
        ipSecurityRestrictions: [for (range, i) in allowedRanges: {
          name: 'range-${i}'
          action: 'Allow'
          ipAddressRange: range
        }]
      }
    }
    template: {
      // The server lets requests in flight go on for 230 s after SIGTERM.
      terminationGracePeriodSeconds: 240
      containers: [
        {
          name: 'api'
          image: isPlaceholder ? 'mcr.microsoft.com/dotnet/samples:aspnetapp' : image
          env: concat(platformVariables, inferenceVariables)
          resources: { cpu: json(cpu), memory: memory }
          // The placeholder knows none of these paths; the platform then asks whether the port is open.
          probes: isPlaceholder ? [] : probes
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        cooldownPeriod: 300
        pollingInterval: 30
        rules: empty(queueName) ? httpRule : concat(httpRule, queueRule)
      }
    }
  }
}

output id string = app.id
output name string = app.name
output url string = 'https://${app.properties.configuration.ingress.fqdn}'
