const { answer, close } = require('./answers.cjs')

afterAll(close)

test('a question is asked once', async () => {
  const ask = jest.fn(async () => 42)
  expect(await answer('acme', 'all', ask)).toBe(42)
  expect(await answer('acme', 'all', ask)).toBe(42)
  expect(ask).toHaveBeenCalledTimes(1)
})
