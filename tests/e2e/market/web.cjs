// `web`: where the market's customers come in. HTTP in; HTTP to `orders`, gRPC to `prices`.
//
//     web.cjs ORDERS_URL PRICES_ADDRESS
"use strict";

const { start, work } = require("./telemetry.cjs");
const up = start("web");

const http = require("node:http");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { context } = require("@opentelemetry/api");
const { getRPCMetadata } = require("@opentelemetry/core");

const [orders, pricesAddress] = process.argv.slice(2);
const market = grpc.loadPackageDefinition(loader.loadSync(path.join(__dirname, "market.proto"))).market;
const prices = new market.Prices(pricesAddress, grpc.credentials.createInsecure());

const price = (value) =>
  new Promise((done, fail) => prices.Price({ value }, (error, answer) => (error ? fail(error) : done(answer.value))));

const ask = (method, where) =>
  new Promise((done, fail) => {
    const request = http.request(orders + where, { method }, (answer) => {
      answer.resume();
      answer.on("end", () => (answer.statusCode === 200 ? done() : fail(new Error(`${where}: ${answer.statusCode}`))));
    });
    request.on("error", fail);
    request.end();
  });

// What customers do, by the first word of the path.
const routes = {
  async product(sku) {
    await work(4);
    await price(sku);
  },
  async cart(user) {
    await ask("GET", `/items/${user}`);
    await work(4);
  },
  async checkout(user) {
    await price(`p${user.slice(1)}`);
    await work(4);
    await ask("POST", `/orders/${user}`);
  },
};

const server = http.createServer(async (request, answer) => {
  const [, route, argument] = request.url.split("/");
  try {
    // As a web framework would say it.
    getRPCMetadata(context.active()).route = `/${route}/{name}`;
    await routes[route](argument);
  } catch (error) {
    console.error(error);
    answer.statusCode = 500;
  }
  answer.end();
});
server.listen(0, "127.0.0.1", () => up(server.address().port, () => new Promise((done) => server.close(done))));
