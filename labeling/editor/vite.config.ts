import { defineConfig } from "vitest/config";

// The built page is served below any path (`/editor/`), so it names its files relative to itself.
export default defineConfig({
  base: "./",
  build: { target: "es2023", chunkSizeWarningLimit: 1000 },
  worker: { format: "es" },
  server: { proxy: { "/editor/api": "http://127.0.0.1:8020" } },
  test: { environment: "node", testTimeout: 120_000, include: ["test/**/*.test.ts"] },
});
