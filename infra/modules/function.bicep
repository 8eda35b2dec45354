// The function tier: Flex Consumption, one core and one request at a time on each instance.
param location string
param tags object
param suffix string
param isPrivate bool
param insightsName string
param integrationSubnetId string
param endpointsSubnetId string
param blobZoneId string = ''
param sitesZoneId string = ''
@description('Address ranges that may call; empty: every one that can reach it.')
param allowedRanges array
@description('INFERENCE_ settings of this tier, by name.')
param settings object
@minValue(0)
param alwaysReady int
// 2048 MB is the size with one whole core; the second core of 4096 MB would lie idle here.
@allowed([512, 2048, 4096])
param memoryMb int = 2048
// The platform takes no smaller value, and is reported not to hold HTTP bursts to it: it is no cap on costs.
@minValue(40)
@maxValue(1000)
param maximumInstances int

var packageContainer = 'function-package'
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // the host also keeps its locks and its keys in blobs

module storage 'storage.bicep' = {
  name: 'function-storage'
  params: {
    name: 'stfn${suffix}'
    location: location
    tags: tags
    isPrivate: isPrivate
    containers: [packageContainer]
    endpointsSubnetId: endpointsSubnetId
    blobZoneId: blobZoneId
  }
}

// Known before anything is deployed, as the keys of `identity` must be.
var identityName = 'id-function-${suffix}'
var identityId = resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', identityName)

module identity 'identity.bicep' = {
  name: 'function-identity'
  params: {
    name: identityName
    location: location
    tags: tags
    storageName: storage.outputs.name
    storageRoleIds: [blobDataOwner]
    insightsName: insightsName
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${suffix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

// FUNCTIONS_WORKER_PROCESS_COUNT is not set: Flex Consumption lists it as not valid and runs one worker process.
// The other three of the four single-thread settings are PYTHON_THREADPOOL_THREAD_COUNT, perInstanceConcurrency, and
// ONNX Runtime's own threads, which function_app.py sets.
var platformSettings = [
  { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
  { name: 'AzureWebJobsStorage__clientId', value: identity.outputs.clientId }
  { name: 'AzureWebJobsStorage__blobServiceUri', value: storage.outputs.blobEndpoint }
  { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
  { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identity.outputs.clientId};Authorization=AAD' }
  { name: 'PYTHON_THREADPOOL_THREAD_COUNT', value: '1' }
  { name: 'OMP_NUM_THREADS', value: '1' }
]
var inferenceSettings = [for setting in items(settings): { name: setting.key, value: setting.value }]

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: 'func-${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'function' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: integrationSubnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: empty(allowedRanges) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [for (range, i) in allowedRanges: {
        name: 'range-${i}'
        action: 'Allow'
        ipAddress: range
        priority: 100 + i
      }]
      appSettings: concat(platformSettings, inferenceSettings)
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.outputs.blobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.outputs.id
          }
        }
      }
      runtime: { name: 'python', version: '3.12' }
      scaleAndConcurrency: {
        instanceMemoryMB: memoryMb
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady == 0 ? [] : [{ name: 'http', instanceCount: alwaysReady }]
        triggers: { http: { perInstanceConcurrency: 1 } }
      }
    }
  }
}

// Publishing by user name and password stays off; azd publishes with the identity of whoever signed in.
resource noPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = [for channel in ['ftp', 'scm']: {
  parent: site
  name: channel
  properties: { allow: false }
}]

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'function-endpoint'
  params: {
    name: 'pe-function-${suffix}'
    location: location
    tags: tags
    subnetId: endpointsSubnetId
    targetId: site.id
    group: 'sites'
    zoneId: sitesZoneId
  }
}

output id string = site.id
output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
