import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { alias: { "effect-libp2p": fileURLToPath(new URL("src/index.ts", import.meta.url)) } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/interop/{go,rust,js}/**", "node_modules/**"],
    setupFiles: ["test/support/setup.ts"],
    // An unhandled rejection anywhere is a bug of the library: never ignore one.
    dangerouslyIgnoreUnhandledErrors: false,
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
