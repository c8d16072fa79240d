/**
 * Names that the `.env` of an older system may hold, or that this server has once listed, and that
 * nothing here reads yet. Whoever gives one hears at start that it has no effect; what it says is
 * not looked at, and cannot stop the start. A name leaves this list for the table together with the
 * feature that reads it.
 */
export const UNREAD_YET: ReadonlySet<string> = new Set([
  // Relayed frames, and channels that applications declare.
  'MESSAGING_RELAY',
  'REALTIME_CONFIG',
  'REALTIME_INSECURE',
  // Calls.
  'TURN_URLS',
  'TURN_SECRET',
  // Trading pools.
  'TRADING_MODULE_URL',
  'TRADING_API_KEY',
  // Lightning.
  'LND_SOCKET',
  'LND_HOST',
  'LND_CERT',
  'LND_MACAROON',
  // Proofs on Bitcoin.
  'BITCOIN_NETWORK',
  'ESPLORA_URL',
  'RGB_DATA_DIR',
  // Tips and contracts on Ethereum.
  'RPC_URL',
  'CHAIN_ID',
  'PRIVATE_KEY',
  'KEYSTORE_PATH',
  'KEYSTORE_PASSWORD',
  'SIGNER_URL',
  'TK_CONTRACT_ADDRESS',
  'TKI_CONTRACT_ADDRESS',
  'REVENUE_CONTROLLER_ADDRESS',
  'VALIDATOR_ADDRESS',
  // Sign-in through others.
  'DAZENO_USERS_API',
  'DAZENO_LIGHTNING_API',
  'DAZENO_WEBHOOK_SECRET',
  'LINKEDIN_CLIENT_ID',
  'LINKEDIN_CLIENT_SECRET',
  'T4G_ISSUER',
  // Media in a bucket.
  'S3_BUCKET',
  'S3_ENDPOINT',
  'S3_REGION',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
  // Errors and traces sent elsewhere.
  'SENTRY_DSN',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
])
