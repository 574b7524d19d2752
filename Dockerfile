# One image for every program: `api`, `worker`, `agent`, and the commands.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No package that is needed here needs its installation script; `node` is the image's own.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY script/build.ts script/
COPY src src
RUN node script/build.ts && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
COPY package.json ./
COPY bin bin
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# A named volume takes its owner from here.
RUN ln -s /app/bin/sluice /usr/local/bin/sluice && mkdir -m 700 /secret && chown node: /secret
USER node
EXPOSE 7788
ENTRYPOINT ["sluice"]
CMD ["--help"]
