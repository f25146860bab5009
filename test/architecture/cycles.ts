/**
 * The import cycles of a graph: every strongly connected component of more than one file (or of one that imports
 * itself), by Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972).
 */
export function cyclesIn(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = []
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const stack: string[] = []

  const visit = (file: string): number => {
    const own = order.size
    order.set(file, own)
    lowest.set(file, own)
    stack.push(file)
    for (const next of graph.get(file) ?? []) {
      const reached = order.has(next) ? (stack.includes(next) ? (order.get(next) ?? own) : own) : visit(next)
      lowest.set(file, Math.min(lowest.get(file) ?? own, reached))
    }
    if (lowest.get(file) === own) {
      const component = stack.splice(stack.indexOf(file))
      if (component.length > 1 || graph.get(file)?.includes(file) === true) cycles.push(component)
    }
    return lowest.get(file) ?? own
  }

  for (const file of graph.keys()) if (!order.has(file)) visit(file)
  return cycles
}
