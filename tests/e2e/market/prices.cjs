// `prices`: gRPC in, gRPC to `stock`, because what is rare costs more.
//
//     prices.cjs STOCK_ADDRESS
"use strict";

const { start, work } = require("./telemetry.cjs");
const up = start("prices");

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const market = grpc.loadPackageDefinition(loader.loadSync(path.join(__dirname, "market.proto"))).market;
const stock = new market.Stock(process.argv[2], grpc.credentials.createInsecure());

const server = new grpc.Server();
server.addService(market.Prices.service, {
  async Price({ request }, answer) {
    await work(6);
    stock.Level({ value: request.value }, answer);
  },
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  up(port, () => new Promise((done) => server.tryShutdown(done)));
});
