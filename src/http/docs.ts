import { dirname, join } from 'node:path'
import { asyncApi } from './asyncapi.ts'
import type { Edge } from './edge.ts'
import type { MountedRoute } from './fallback.ts'
import { openApi } from './openapi.ts'
import { cached, textRoute } from './pages.ts'
import { systemRoute } from './system.ts'

const ASSETS = '/api-docs'

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rialto API</title>
<link rel="icon" href="${ASSETS}/favicon-32x32.png">
<link rel="stylesheet" href="${ASSETS}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="${ASSETS}/swagger-ui-bundle.js"></script>
<script src="${ASSETS}/start.js"></script>
</body>
</html>
`

// Without \`validatorUrl: null\` the page would send the document's address to a foreign service.
const START = `SwaggerUIBundle({
  url: '/api-json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  displayOperationId: true,
  filter: true,
  validatorUrl: null,
})
`

const FILES = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
}

/** The page of the documentation, its files, and the documents themselves. */
export function docsRoutes(edge: Edge): MountedRoute[] {
  const { registry, version } = edge
  const { config } = edge.kernel
  // Written at the first request: a start should not wait for what few ask for.
  const document = (path: string, write: () => unknown) => {
    let text: string | undefined
    return textRoute(edge, path, 'application/json', () => (text ??= JSON.stringify(write())))
  }
  return [
    document('/api-json', () => openApi(registry, version)),
    document('/asyncapi.json', () =>
      asyncApi(registry, edge.sockets, { version, publicUrl: config.publicUrl }),
    ),
    textRoute(edge, '/api', 'text/html; charset=utf-8', () => PAGE),
    textRoute(edge, `${ASSETS}/start.js`, 'text/javascript; charset=utf-8', () => START),
    ...fileRoutes(edge),
  ]
}

function fileRoutes(edge: Edge): MountedRoute[] {
  const folder = dirname(Bun.resolveSync('swagger-ui-dist/package.json', import.meta.dir))
  return Object.entries(FILES).map(([name, type]) => {
    // The tag follows the content: another version of the package has other files.
    let tag: string | undefined
    return systemRoute(edge, `${ASSETS}/${name}`, async (call, log) => {
      const file = Bun.file(join(folder, name))
      tag ??= `"${Bun.hash(await file.bytes()).toString(36)}"`
      return cached(edge, call, log, tag, file, type)
    })
  })
}
