export default {
  input: './generated/openapi.json',
  output: { path: 'generated/hey-api', importFileExtension: '.js' }
}
