// Serves a Bluesky PDS and a PLC directory on 127.0.0.1, until it is stopped.
//
//   node pds.mjs PDS_PORT PLC_PORT DATA_FOLDER
//
// It writes "serving" to standard output when both answer. Accounts need no invitation; their handles end with .test.
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'
import { Database, PlcServer } from '@did-plc/server'

const [pdsPort, plcPort] = [Number(process.argv[2]), Number(process.argv[3])]
const data = process.argv[4]
mkdirSync(join(data, 'blobs'), { recursive: true })

const plc = PlcServer.create({ db: Database.mock(), port: plcPort })
await plc.start()

const env = {
  devMode: true,
  hostname: 'localhost',
  port: pdsPort,
  serviceDid: 'did:web:localhost',
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  dataDirectory: data,
  blobstoreDiskLocation: join(data, 'blobs'),
  blobUploadLimit: 20000000,
  didPlcUrl: `http://localhost:${plcPort}`,
  jwtSecret: randomBytes(16).toString('hex'),
  adminPassword: randomBytes(16).toString('hex'),
  plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString('hex'),
  bskyAppViewUrl: 'http://localhost:1',
  bskyAppViewDid: 'did:web:localhost',
  modServiceDid: 'did:web:localhost',
  disableSsrfProtection: true,
  crawlers: [],
}
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
await pds.start()
process.stdout.write('serving\n')

const stop = async () => {
  await pds.destroy()
  await plc.destroy()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
