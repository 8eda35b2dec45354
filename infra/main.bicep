// Everything, each tier behind its own flag. `networkMode` private leaves no way in from the internet.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
param environmentName string
param location string
@allowed(['public', 'private'])
param networkMode string = 'public'
@description('A NAT gateway also where nothing here is known to need one (private mode and GPU machines always have it).')
param alwaysNat bool = false
@description('Address ranges that may call, separated by commas; empty: every one that can reach it.')
param allowedIpRanges string = ''
param alertEmail string = ''

param deployFunction bool = true
param functionSettings object = {}
param functionAlwaysReady int = 0
param functionInstancesMax int = 40
@allowed([512, 2048, 4096])
param functionMemoryMb int = 2048
param functionBoundMs int

param deployContainer bool = true
param containerImage string = ''
param containerCpu string = '2'
param containerMemory string = '4Gi'
@description('Replicas at rest: 0 costs nothing and starts cold.')
param containerReplicasMin int = 0
param containerReplicasMax int = 10
@description('Requests on one replica before another is started. A 4K picture takes all cores of its replica for its whole time: one that computes, one that waits.')
param containerConcurrency int = 2
@description('Dedicated profile such as D8, on which the app then runs; empty: Consumption.')
param containerProfile string = ''
param containerSettings object = {}
param containerBoundMs int
@description('Jobs as executions that end, instead of replicas that stay.')
param deployJob bool = false
param jobCommand array = ['python', '-m', 'image_api.worker', '--drain']

@description('The GPU image on a serverless GPU of Container Apps.')
param deployContainerGpu bool = false
@allowed(['Consumption-GPU-NC8as-T4', 'Consumption-GPU-NC24-A100'])
param containerGpuProfile string = 'Consumption-GPU-NC8as-T4'
param containerGpuReplicasMin int = 0
param containerGpuReplicasMax int = 2
param containerGpuConcurrency int = 8

@description('The GPU image on GPU machines.')
param deployGpu bool = false
@allowed(['t4', 'a100', 'h100', 'a10'])
param gpuFamily string = 't4'
param gpuSize string = 'Standard_NC4as_T4_v3'
param gpuMachineImageId string = ''
param gpuSshPublicKey string = ''
param gpuSpot bool = false
param gpuMachinesMin int = 1
param gpuMachinesMax int = 2
@allowed(['TrustedLaunch', 'Standard'])
param gpuSecurityType string = 'TrustedLaunch'
param gpuEncryptionAtHost bool = false
@description('Image on the serverless GPU; empty until it is pushed. GPU machines pull gpu-api:latest themselves.')
param gpuImage string = ''
param gpuSettings object = {}

var isPrivate = networkMode == 'private'
var suffix = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var allowedRanges = empty(allowedIpRanges) ? [] : split(allowedIpRanges, ',')
var useContainers = deployContainer || deployContainerGpu || deployJob
var useRegistry = useContainers || deployGpu
var useNat = alwaysNat || isPrivate || deployGpu

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module network 'modules/network.bicep' = {
  name: 'network'
  scope: group
  params: { location: location, tags: tags, suffix: suffix, isPrivate: isPrivate, useNat: useNat, gpuPort: 8000 }
}

module dns 'modules/private-dns.bicep' = if (isPrivate) {
  name: 'private-dns'
  scope: group
  params: { tags: tags, networkId: network.outputs.networkId }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: { location: location, tags: tags, suffix: suffix, alertEmail: alertEmail }
}

module registry 'modules/registry.bicep' = if (useRegistry) {
  name: 'registry'
  scope: group
  params: {
    name: 'cr${suffix}'
    location: location
    tags: tags
    isPrivate: isPrivate
    endpointsSubnetId: network.outputs.endpointsSubnetId
    zoneId: isPrivate ? dns!.outputs.registryZoneId : ''
  }
}

module function 'modules/function.bicep' = if (deployFunction) {
  name: 'function'
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    isPrivate: isPrivate
    insightsName: monitoring.outputs.insightsName
    integrationSubnetId: network.outputs.functionsSubnetId
    endpointsSubnetId: network.outputs.endpointsSubnetId
    blobZoneId: isPrivate ? dns!.outputs.blobZoneId : ''
    sitesZoneId: isPrivate ? dns!.outputs.sitesZoneId : ''
    allowedRanges: allowedRanges
    settings: functionSettings
    alwaysReady: functionAlwaysReady
    maximumInstances: functionInstancesMax
    memoryMb: functionMemoryMb
  }
}

module containers 'modules/container-tier.bicep' = if (useContainers) {
  name: 'containers'
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    isPrivate: isPrivate
    networkId: network.outputs.networkId
    subnetId: network.outputs.containersSubnetId
    endpointsSubnetId: network.outputs.endpointsSubnetId
    blobZoneId: isPrivate ? dns!.outputs.blobZoneId : ''
    queueZoneId: isPrivate ? dns!.outputs.queueZoneId : ''
    workspaceId: monitoring.outputs.workspaceId
    registryName: registry!.outputs.name
    registryServer: registry!.outputs.loginServer
    allowedRanges: allowedRanges
    deployApp: deployContainer
    image: containerImage
    cpu: containerCpu
    memory: containerMemory
    minReplicas: containerReplicasMin
    maxReplicas: containerReplicasMax
    concurrency: containerConcurrency
    dedicatedProfile: containerProfile
    settings: containerSettings
    deployJob: deployJob
    jobCommand: jobCommand
    deployGpu: deployContainerGpu
    gpuProfile: containerGpuProfile
    gpuMinReplicas: containerGpuReplicasMin
    gpuMaxReplicas: containerGpuReplicasMax
    gpuConcurrency: containerGpuConcurrency
    gpuImage: gpuImage
    gpuSettings: gpuSettings
  }
}

module gpu 'modules/gpu-vm.bicep' = if (deployGpu) {
  name: 'gpu'
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    subnetId: network.outputs.gpuSubnetId
    registryName: registry!.outputs.name
    registryServer: registry!.outputs.loginServer
    settings: gpuSettings
    port: 8000
    family: gpuFamily
    size: gpuSize
    machineImageId: gpuMachineImageId
    sshPublicKey: gpuSshPublicKey
    spot: gpuSpot
    minMachines: gpuMachinesMin
    maxMachines: gpuMachinesMax
    securityType: gpuSecurityType
    encryptionAtHost: gpuEncryptionAtHost
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    suffix: suffix
    workspaceId: monitoring.outputs.workspaceId
    alertGroupIds: monitoring.outputs.alertGroupIds
    functionName: deployFunction ? function!.outputs.name : ''
    functionBoundMs: functionBoundMs
    containerAppId: useContainers ? containers!.outputs.appId : ''
    containerBoundMs: containerBoundMs
    balancerId: deployGpu ? gpu!.outputs.balancerId : ''
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = useRegistry ? registry!.outputs.loginServer : ''
output AZURE_CONTAINER_REGISTRY_NAME string = useRegistry ? registry!.outputs.name : ''
output FUNCTION_NAME string = deployFunction ? function!.outputs.name : ''
output FUNCTION_URL string = deployFunction ? function!.outputs.url : ''
output CONTAINER_URL string = useContainers ? containers!.outputs.url : ''
output CONTAINER_GPU_URL string = useContainers ? containers!.outputs.gpuUrl : ''
output GPU_NAME string = deployGpu ? gpu!.outputs.name : ''
output GPU_URL string = deployGpu ? gpu!.outputs.url : ''
