import manifest from '../package.json' with { type: 'json' }

/** The version that documents, logs and `/health` tell. */
export const VERSION: string = manifest.version
