/**
 * Where a Gamma distribution of whole shape reaches a probability: by halving.
 * Of many peers at places by chance, the distance of the closest `shape` to any
 * place, times how many there are, is distributed so.
 */
export const inverseGamma = (shape: number, probability: number): number => {
  const reached = (x: number): number => {
    let term = Math.exp(-x)
    let rest = term
    for (let i = 1; i < shape; i++) {
      term *= x / i
      rest += term
    }
    return 1 - rest
  }
  let low = 0
  let high = 10 * shape + 50
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (reached(middle) < probability) low = middle
    else high = middle
  }
  return low
}
