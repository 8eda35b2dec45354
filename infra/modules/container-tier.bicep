// The container tier: the environment, the jobs' storage, and what runs there: the app, a job, the app on a GPU.
param location string
param tags object
param suffix string
param isPrivate bool
param networkId string
param subnetId string
param endpointsSubnetId string
param blobZoneId string
param queueZoneId string
param workspaceId string
param registryName string
param registryServer string
param allowedRanges array
param deployApp bool
param image string
param cpu string
param memory string
param minReplicas int
param maxReplicas int
@description('Requests on one replica before another is started.')
param concurrency int
param dedicatedProfile string
param settings object
param deployJob bool
param jobCommand array
param deployGpu bool
param gpuProfile string
param gpuMinReplicas int
param gpuMaxReplicas int
param gpuConcurrency int
param gpuImage string
param gpuSettings object

var jobQueue = 'jobs'
var webhookQueue = 'jobs-webhooks'
var poisonQueue = 'jobs-poison' // a message that keeps failing ends here, where it can be seen
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var gpuCpu = gpuProfile == 'Consumption-GPU-NC24-A100' ? '24' : '8'
var gpuMemory = gpuProfile == 'Consumption-GPU-NC24-A100' ? '220Gi' : '56Gi'

module environment 'container-environment.bicep' = {
  name: 'container-environment'
  params: {
    location: location
    tags: tags
    suffix: suffix
    isPrivate: isPrivate
    subnetId: subnetId
    networkId: networkId
    workspaceId: workspaceId
    dedicatedProfile: dedicatedProfile
    dedicatedNodesMax: maxReplicas
    gpuProfile: deployGpu ? gpuProfile : ''
  }
}

module storage 'storage.bicep' = {
  name: 'jobs-storage'
  params: {
    name: 'stjob${suffix}'
    location: location
    tags: tags
    isPrivate: isPrivate
    containers: ['job-inputs', 'job-results']
    expiringContainers: ['job-inputs', 'job-results']
    queues: [jobQueue, poisonQueue, webhookQueue]
    endpointsSubnetId: endpointsSubnetId
    blobZoneId: blobZoneId
    queueZoneId: queueZoneId
  }
}

// Background jobs live in this storage account, which its users reach by their identity.
var jobSettings = {
  INFERENCE_JOBS_BLOB_URL: storage.outputs.blobEndpoint
  INFERENCE_JOBS_QUEUE_URL: storage.outputs.queueEndpoint
  INFERENCE_JOBS_QUEUE: jobQueue
  // Requests in flight end first: together they must fit into the platform's 240 s.
  INFERENCE_JOBS_GRACE_S: '60'
}

module identity 'identity.bicep' = {
  name: 'container-identity'
  params: {
    name: 'id-container-${suffix}'
    location: location
    tags: tags
    storageName: storage.outputs.name
    storageRoleIds: [blobDataContributor, queueDataContributor]
    registryName: registryName
  }
}

module gpuIdentity 'identity.bicep' = if (deployGpu) {
  name: 'container-gpu-identity'
  params: {
    name: 'id-container-gpu-${suffix}'
    location: location
    tags: tags
    registryName: registryName
  }
}

module app 'container-app.bicep' = if (deployApp) {
  name: 'container-app'
  params: {
    name: 'ca-${suffix}'
    location: location
    tags: union(tags, { 'azd-service-name': 'container' })
    environmentId: environment.outputs.id
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    registryServer: registryServer
    image: image
    profile: empty(dedicatedProfile) ? 'Consumption' : 'dedicated'
    cpu: cpu
    memory: memory
    // Where executions work the queue off, the replicas take none of it themselves.
    settings: union(settings, jobSettings, { INFERENCE_JOBS_WORKERS: deployJob ? '0' : '1' })
    concurrentRequests: concurrency
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    startupPeriodSeconds: 3
    queueAccountName: storage.outputs.name
    // Where executions work the queue off, replicas must not start for it as well.
    queueName: deployJob ? '' : jobQueue
    allowedRanges: allowedRanges
  }
}

module job 'container-job.bicep' = if (deployJob) {
  name: 'container-job'
  params: {
    name: 'caj-${suffix}'
    location: location
    tags: tags
    environmentId: environment.outputs.id
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    registryServer: registryServer
    image: image
    command: jobCommand
    cpu: cpu
    memory: memory
    settings: union(settings, jobSettings)
    queueAccountName: storage.outputs.name
    queueName: jobQueue
  }
}

module gpuApp 'container-app.bicep' = if (deployGpu) {
  name: 'container-gpu'
  params: {
    name: 'ca-gpu-${suffix}'
    location: location
    tags: tags
    environmentId: environment.outputs.id
    identityId: gpuIdentity!.outputs.id
    identityClientId: gpuIdentity!.outputs.clientId
    registryServer: registryServer
    image: gpuImage
    profile: 'gpu'
    cpu: gpuCpu
    memory: gpuMemory
    settings: gpuSettings
    concurrentRequests: gpuConcurrency
    minReplicas: gpuMinReplicas
    maxReplicas: gpuMaxReplicas
    startupPeriodSeconds: 30
    allowedRanges: allowedRanges
  }
}

output appId string = deployApp ? app!.outputs.id : ''
output url string = deployApp ? app!.outputs.url : ''
output gpuUrl string = deployGpu ? gpuApp!.outputs.url : ''
