// Where containers run: inside the virtual network, scaled to zero, with dedicated and GPU profiles where wanted.
param location string
param tags object
param suffix string
param isPrivate bool
param subnetId string
param networkId string
param workspaceId string
@description('Dedicated profile (D4 to D32, E4 to E32); empty: none, and no monthly fee for it.')
param dedicatedProfile string
@minValue(1)
param dedicatedNodesMax int
@description('Serverless GPU profile; empty: none.')
param gpuProfile string

var consumptionProfiles = [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
// A minimum of 0 is reported not to get a node when it is needed.
var dedicatedProfiles = empty(dedicatedProfile) ? [] : [
  { name: 'dedicated', workloadProfileType: dedicatedProfile, minimumCount: 1, maximumCount: dedicatedNodesMax }
]
// Counts on a serverless GPU profile are refused.
var gpuProfiles = empty(gpuProfile) ? [] : [{ name: 'gpu', workloadProfileType: gpuProfile }]

resource environment 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: 'cae-${suffix}'
  location: location
  tags: tags
  properties: {
    vnetConfiguration: {
      internal: isPrivate
      infrastructureSubnetId: subnetId
    }
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    workloadProfiles: concat(consumptionProfiles, dedicatedProfiles, gpuProfiles)
    // By way of diagnostic settings: the other way needs the workspace's shared key.
    appLogsConfiguration: { destination: 'azure-monitor' }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: environment
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

module names 'environment-dns.bicep' = if (isPrivate) {
  name: 'environment-dns'
  params: {
    tags: tags
    domain: environment.properties.defaultDomain
    address: environment.properties.staticIp
    networkId: networkId
  }
}

output id string = environment.id
