export function installFirebaseTools(options?: { readonly folder?: string; readonly npm?: string }): Promise<{ readonly failure?: string }>
