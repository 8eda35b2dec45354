// The container registry. Private endpoints need the Premium size; Basic suffices without.
param name string
param location string
param tags object
param isPrivate bool
param endpointsSubnetId string
param zoneId string = ''

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: isPrivate ? 'Premium' : 'Basic' }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkRuleBypassOptions: 'AzureServices'
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'registry-endpoint'
  params: {
    name: 'pe-registry-${name}'
    location: location
    tags: tags
    subnetId: endpointsSubnetId
    targetId: registry.id
    group: 'registry'
    zoneId: zoneId
  }
}

output name string = registry.name
output loginServer string = registry.properties.loginServer
