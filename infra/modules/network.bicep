// One virtual network with a subnet for each way of hosting; every subnet has its own network security group.
param location string
param tags object
param suffix string
param isPrivate bool
@description('Outbound internet through a NAT gateway: no subnet has any other way out.')
param useNat bool
param gpuPort int

resource functionsNsg 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-functions-${suffix}'
  location: location
  tags: tags
  properties: {
    // Outbound integration only: nothing is ever addressed to this subnet from outside; the default rules say so.
    securityRules: []
  }
}

resource containersNsg 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-containers-${suffix}'
  location: location
  tags: tags
  properties: {
    // 31443 is where the platform's edge listens behind 443.
    securityRules: isPrivate ? [] : [
      {
        name: 'AllowHttpsFromInternet'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRanges: ['443', '31443']
        }
      }
    ]
  }
}

resource endpointsNsg 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-endpoints-${suffix}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'AllowHttpsFromNetwork'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
      {
        name: 'DenyOtherInbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource gpuNsg 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-gpu-${suffix}'
  location: location
  tags: tags
  properties: {
    // No SSH: operators use `az vm run-command`, which needs no open port.
    securityRules: [
      {
        name: 'AllowServiceFromNetwork'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '${gpuPort}'
        }
      }
      {
        name: 'AllowHealthProbe'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '${gpuPort}'
        }
      }
      {
        name: 'DenyOtherInbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource natIp 'Microsoft.Network/publicIPAddresses@2025-05-01' = if (useNat) {
  name: 'pip-nat-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource nat 'Microsoft.Network/natGateways@2025-05-01' = if (useNat) {
  name: 'ng-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: natIp.id }]
  }
}

var natReference = useNat ? { id: nat.id } : null
var appDelegation = [
  {
    name: 'app-environments'
    properties: { serviceName: 'Microsoft.App/environments' }
  }
]

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.40.0.0/16'] }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.40.0.0/24'
          delegations: appDelegation
          networkSecurityGroup: { id: functionsNsg.id }
          natGateway: natReference
          defaultOutboundAccess: false
        }
      }
      {
        // One address per replica, twice that while a revision rolls out: /23 leaves room for 240 replicas.
        name: 'containers'
        properties: {
          addressPrefix: '10.40.2.0/23'
          delegations: appDelegation
          networkSecurityGroup: { id: containersNsg.id }
          natGateway: natReference
          defaultOutboundAccess: false
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.40.4.0/24'
          networkSecurityGroup: { id: endpointsNsg.id }
          // Without this a private endpoint ignores the group.
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
          defaultOutboundAccess: false
        }
      }
      {
        name: 'gpu'
        properties: {
          addressPrefix: '10.40.5.0/24'
          networkSecurityGroup: { id: gpuNsg.id }
          natGateway: natReference
          defaultOutboundAccess: false
        }
      }
    ]
  }
}

output networkId string = network.id
output functionsSubnetId string = '${network.id}/subnets/functions'
output containersSubnetId string = '${network.id}/subnets/containers'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
output gpuSubnetId string = '${network.id}/subnets/gpu'
