import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

export default defineConfig(
  { ignores: ['**/dist/**', '**/node_modules/**', '**/.cache/**', '**/.turbo/**', 'coverage/**', 'bench/results/**'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: ['./tsconfig.tests.json'], tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true, allowNullish: true }],
      '@typescript-eslint/no-confusing-void-expression': 'off', // `return settle(error)` is how an early return is written here
      '@typescript-eslint/no-unnecessary-condition': 'off', // public methods check what JavaScript callers may pass
      '@typescript-eslint/no-unnecessary-type-parameters': 'off', // get<T>() names the type its caller expects
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }], // a module of Nest is one
      '@typescript-eslint/require-await': 'off', // `async` alone turns a throw into a rejection, and list() of a synchronous store is an async generator
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/unified-signatures': 'off', // overloads are kept apart where their documentation is
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-import-type-side-effects': 'error', // under verbatimModuleSyntax `import { type A }` still loads the module
    },
  },
  {
    // Not type-checked: no tsconfig covers them.
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.strict],
    rules: { '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }] },
  },
  {
    files: ['**/test/**/*.ts', 'test/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/no-empty-function': 'off' },
  },
)
