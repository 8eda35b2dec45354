// The GPU tier: a scale set of GPU machines behind an internal load balancer. No machine has a public address.
param location string
param tags object
param suffix string
param subnetId string
param registryName string
param registryServer string
param settings object
param port int
@description('Which driver and machine image: t4, a100 and h100 come with both, a10 needs `machineImageId` and the GRID extension.')
@allowed(['t4', 'a100', 'h100', 'a10'])
param family string
param size string
@description('An image of your own (Docker and the NVIDIA container toolkit in it); empty: Ubuntu HPC.')
param machineImageId string
param sshPublicKey string
@description('Machines that may be taken back at any time, at about a tenth to a fifth of the price.')
param spot bool
@minValue(0)
param minMachines int
@minValue(1)
param maxMachines int
@description('TrustedLaunch with secure boot off; Standard where the machine image cannot be started as such.')
@allowed(['TrustedLaunch', 'Standard'])
param securityType string
param encryptionAtHost bool

// Known before anything is deployed, as the keys of `identity` must be.
var identityName = 'id-gpu-${suffix}'
var identityId = resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', identityName)

module identity 'identity.bicep' = {
  name: 'gpu-identity'
  params: {
    name: identityName
    location: location
    tags: tags
    registryName: registryName
  }
}

// No secrets in it: whoever may read the machine may read this.
var environmentFile = join(concat([
  'GPU_API_IMAGE=${registryServer}/gpu-api:latest'
  'GPU_API_REGISTRY=${registryServer}'
  'GPU_API_CLIENT_ID=${identity.outputs.clientId}'
  'GPU_API_PORT=${port}'
], settingLines), '\n')
var settingLines = [for setting in items(settings): '${setting.key}=${setting.value}']
var withUnit = replace(loadTextContent('../../vm-gpu/cloud-init.yaml'), '@@GPU_API_SERVICE@@', base64(loadTextContent('../../vm-gpu/gpu-api.service')))
var cloudInit = replace(withUnit, '@@GPU_API_ENV@@', base64(environmentFile))

var hpcImage = { publisher: 'microsoft-dsvm', offer: 'ubuntu-hpc', sku: '2404', version: 'latest' }

var healthExtension = [
  {
    name: 'health'
    properties: {
      publisher: 'Microsoft.ManagedServices'
      type: 'ApplicationHealthLinux'
      typeHandlerVersion: '1.0'
      autoUpgradeMinorVersion: true
      settings: { protocol: 'http', port: port, requestPath: '/v2/health/ready' }
    }
  }
]
var gridDriver = [
  {
    name: 'driver'
    properties: {
      publisher: 'Microsoft.HpcCompute'
      type: 'NvidiaGpuDriverLinux'
      typeHandlerVersion: '1.11'
      autoUpgradeMinorVersion: true
      settings: {}
    }
  }
]

resource balancer 'Microsoft.Network/loadBalancers@2025-05-01' = {
  name: 'lbi-gpu-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    frontendIPConfigurations: [
      {
        name: 'internal'
        properties: {
          subnet: { id: subnetId }
          privateIPAddress: '10.40.5.4'
          privateIPAllocationMethod: 'Static'
        }
      }
    ]
    backendAddressPools: [{ name: 'machines' }]
    probes: [
      {
        name: 'ready'
        properties: { protocol: 'Http', port: port, requestPath: '/v2/health/ready', intervalInSeconds: 5, probeThreshold: 2 }
      }
    ]
    loadBalancingRules: [
      {
        name: 'service'
        properties: {
          protocol: 'Tcp'
          frontendPort: port
          backendPort: port
          // A large picture on a busy machine may take minutes without a byte.
          idleTimeoutInMinutes: 5
          enableTcpReset: true
          frontendIPConfiguration: { id: resourceId('Microsoft.Network/loadBalancers/frontendIPConfigurations', 'lbi-gpu-${suffix}', 'internal') }
          backendAddressPool: { id: resourceId('Microsoft.Network/loadBalancers/backendAddressPools', 'lbi-gpu-${suffix}', 'machines') }
          probe: { id: resourceId('Microsoft.Network/loadBalancers/probes', 'lbi-gpu-${suffix}', 'ready') }
        }
      }
    ]
  }
}

resource machines 'Microsoft.Compute/virtualMachineScaleSets@2025-04-01' = {
  name: 'vmss-gpu-${suffix}'
  location: location
  tags: tags
  sku: { name: size, capacity: minMachines }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    orchestrationMode: 'Flexible'
    platformFaultDomainCount: 1
    spotRestorePolicy: spot ? { enabled: true, restoreTimeout: 'PT1H' } : null
    virtualMachineProfile: {
      priority: spot ? 'Spot' : 'Regular'
      // Nothing is kept on a machine, so a taken-back one is deleted and autoscale starts another.
      evictionPolicy: spot ? 'Delete' : null
      billingProfile: spot ? { maxPrice: -1 } : null
      scheduledEventsProfile: {
        terminateNotificationProfile: { enable: true, notBeforeTimeout: 'PT5M' }
      }
      securityProfile: {
        #disable-next-line BCP036 // Standard came with API 2025, the list of known values did not follow
        securityType: securityType
        encryptionAtHost: encryptionAtHost
        // The NVIDIA driver's kernel modules are not signed for secure boot.
        uefiSettings: securityType == 'TrustedLaunch' ? { secureBootEnabled: false, vTpmEnabled: true } : null
      }
      osProfile: {
        computerNamePrefix: 'gpu'
        adminUsername: 'inference'
        customData: base64(cloudInit)
        linuxConfiguration: {
          disablePasswordAuthentication: true
          ssh: {
            publicKeys: [{ path: '/home/inference/.ssh/authorized_keys', keyData: sshPublicKey }]
          }
          // Updates of the kernel by the platform would leave the driver behind.
          patchSettings: { patchMode: 'ImageDefault' }
        }
      }
      storageProfile: {
        imageReference: empty(machineImageId) ? hpcImage : { id: machineImageId }
        osDisk: {
          createOption: 'FromImage'
          deleteOption: 'Delete'
          diskSizeGB: 256
          managedDisk: { storageAccountType: 'Premium_LRS' }
        }
      }
      networkProfile: {
        networkApiVersion: '2022-11-01'
        networkInterfaceConfigurations: [
          {
            name: 'nic'
            properties: {
              primary: true
              deleteOption: 'Delete'
              ipConfigurations: [
                {
                  name: 'internal'
                  properties: {
                    primary: true
                    subnet: { id: subnetId }
                    loadBalancerBackendAddressPools: [{ id: balancer.properties.backendAddressPools[0].id }]
                  }
                }
              ]
            }
          }
        ]
      }
      extensionProfile: {
        extensions: family == 'a10' ? concat(gridDriver, healthExtension) : healthExtension
      }
    }
  }
}

resource scaling 'Microsoft.Insights/autoscalesettings@2022-10-01' = {
  name: 'scale-gpu-${suffix}'
  location: location
  tags: tags
  properties: {
    enabled: true
    targetResourceUri: machines.id
    profiles: [
      {
        name: 'load'
        capacity: { minimum: '${minMachines}', maximum: '${maxMachines}', default: '${max(minMachines, 1)}' }
        // The platform meters no GPU. The CPU decodes pictures in step with it, and is the nearest thing there is.
        rules: [
          {
            metricTrigger: {
              metricName: 'Percentage CPU'
              metricResourceUri: machines.id
              timeGrain: 'PT1M'
              statistic: 'Average'
              timeWindow: 'PT5M'
              timeAggregation: 'Average'
              operator: 'GreaterThan'
              threshold: 50
            }
            scaleAction: { direction: 'Increase', type: 'ChangeCount', value: '1', cooldown: 'PT10M' }
          }
          {
            metricTrigger: {
              metricName: 'Percentage CPU'
              metricResourceUri: machines.id
              timeGrain: 'PT1M'
              statistic: 'Average'
              timeWindow: 'PT15M'
              timeAggregation: 'Average'
              operator: 'LessThan'
              threshold: 10
            }
            scaleAction: { direction: 'Decrease', type: 'ChangeCount', value: '1', cooldown: 'PT10M' }
          }
        ]
      }
    ]
  }
}

output name string = machines.name
output balancerId string = balancer.id
output url string = 'http://10.40.5.4:${port}'
