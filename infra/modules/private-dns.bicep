// Names of private endpoints, answered inside the virtual network only.
param tags object
param networkId string

var zoneNames = [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.azurewebsites.net'
  'privatelink${environment().suffixes.acrLoginServer}'
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for name in zoneNames: {
  name: name
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (name, i) in zoneNames: {
  parent: zones[i]
  name: 'network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: networkId }
  }
}]

output blobZoneId string = zones[0].id
output queueZoneId string = zones[1].id
output sitesZoneId string = zones[2].id
output registryZoneId string = zones[3].id
