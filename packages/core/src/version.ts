/** The version of this package, as telemetry reports it. A test holds it equal to package.json. */
export const VERSION = '0.1.0'
