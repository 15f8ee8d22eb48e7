// Simulates requests with @cloud-copilot/iam-simulate. Reads a JSON list of {policies, action, resource,
// account, principal, context, resourcePolicy} on stdin, and writes for each {result, statements}.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const answers = []
for (const request of JSON.parse(readFileSync(0, 'utf8'))) {
  const answer = await runSimulation(
    {
      request: {
        principal: request.principal,
        action: request.action,
        resource: { resource: request.resource, accountId: request.account },
        contextVariables: request.context
      },
      identityPolicies: request.policies,
      resourcePolicy: request.resourcePolicy ?? undefined,
      serviceControlPolicies: [],
      resourceControlPolicies: []
    },
    {}
  )
  const statements = []
  for (const one of answer.results ?? [answer.result]) {
    for (const allowed of one?.analysis?.identityAnalysis?.allowStatements ?? []) {
      statements.push(allowed.explain.identifier)
    }
  }
  const errors = answer.errors && JSON.stringify(answer.errors)
  answers.push({ result: errors ?? answer.overallResult, statements })
}
process.stdout.write(JSON.stringify(answers))
