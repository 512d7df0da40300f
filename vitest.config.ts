import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-libp2p$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) },
      { find: "effect-libp2p/testing", replacement: fileURLToPath(new URL("src/testing.ts", import.meta.url)) },
      {
        find: /^effect-libp2p\/conformance\/(\w+)$/,
        replacement: fileURLToPath(new URL("src/conformance/$1.ts", import.meta.url))
      }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "examples/*.test.ts"],
    exclude: ["test/interop/{go,rust,js}/**", "node_modules/**"],
    globalSetup: ["test/programs/build.ts"],
    setupFiles: ["test/support/setup.ts"],
    // An unhandled rejection anywhere is a bug of the library: never ignore one.
    dangerouslyIgnoreUnhandledErrors: false,
    // Files of one worker share their modules: loading them anew for each file took more than a third of the time.
    isolate: false,
    // Both cores of a small machine: the default leaves one idle.
    maxWorkers: "100%",
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
