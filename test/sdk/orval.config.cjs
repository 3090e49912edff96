module.exports = {
  walwarden: {
    input: { target: './generated/openapi.json' },
    // header fields are arguments too
    output: { target: './generated/orval.ts', client: 'fetch', mode: 'single', headers: true, baseUrl: process.env.SDK_URL }
  }
}
