// The alternative to a worker that stays: one execution for each queue message, which loads the model anew.
// For long work that comes seldom; a stream of pictures is cheaper in the app, which keeps its model.
param name string
param location string
param tags object
param environmentId string
param identityId string
param identityClientId string
param registryServer string
@description('Image to run; empty: a public page that holds the place until the first push.')
param image string
@description('The command that works one message off and ends; empty: the image\'s own.')
param command array
param cpu string
param memory string
param settings object
param queueAccountName string
param queueName string
@minValue(1)
param maxExecutions int = 10
@description('A job that runs longer is stopped and its message comes back.')
@minValue(60)
param timeoutSeconds int = 1800

var platformVariables = [{ name: 'AZURE_CLIENT_ID', value: identityClientId }]
var inferenceVariables = [for setting in items(settings): { name: setting.key, value: setting.value }]

resource job 'Microsoft.App/jobs@2025-07-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: 'Event'
      replicaTimeout: timeoutSeconds
      replicaRetryLimit: 1
      registries: [{ server: registryServer, identity: identityId }]
      eventTriggerConfig: {
        parallelism: 1
        replicaCompletionCount: 1
        scale: {
          minExecutions: 0
          maxExecutions: maxExecutions
          pollingInterval: 30
          rules: [
            {
              name: 'jobs'
              type: 'azure-queue'
              metadata: { accountName: queueAccountName, queueName: queueName, queueLength: '1' }
              identity: identityId
            }
          ]
        }
      }
    }
    template: {
      containers: [
        {
          name: 'worker'
          image: empty(image) ? 'mcr.microsoft.com/k8se/quickstart-jobs:latest' : image
          command: command
          env: concat(platformVariables, inferenceVariables)
          resources: { cpu: json(cpu), memory: memory }
        }
      ]
    }
  }
}
