// One storage account: Entra identities only (no shared keys), its blob containers and queues, and what expires.
param name string
param location string
param tags object
param isPrivate bool
param containers array
param queues array = []
@description('Blobs of these containers are deleted when they are older than `keepDays`.')
param expiringContainers array = []
@minValue(1)
param keepDays int = 7
param endpointsSubnetId string
param blobZoneId string = ''
param queueZoneId string = ''

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 7 }
    containerDeleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [for container in containers: {
  parent: blobService
  name: container
  properties: { publicAccess: 'None' }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = if (!empty(queues)) {
  parent: account
  name: 'default'
}

resource storageQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = [for queue in queues: {
  parent: queueService
  name: queue
}]

resource expiry 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = if (!empty(expiringContainers)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'expire'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: [for container in expiringContainers: '${container}/']
            }
            actions: {
              baseBlob: {
                delete: { daysAfterModificationGreaterThan: keepDays }
              }
            }
          }
        }
      ]
    }
  }
}

module blobEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'blob-endpoint-${name}'
  params: {
    name: 'pe-blob-${name}'
    location: location
    tags: tags
    subnetId: endpointsSubnetId
    targetId: account.id
    group: 'blob'
    zoneId: blobZoneId
  }
}

var queueEndpointWanted = isPrivate && !empty(queues)

module queueEndpoint 'private-endpoint.bicep' = if (queueEndpointWanted) {
  name: 'queue-endpoint-${name}'
  params: {
    name: 'pe-queue-${name}'
    location: location
    tags: tags
    subnetId: endpointsSubnetId
    targetId: account.id
    group: 'queue'
    zoneId: queueZoneId
  }
}

output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
