// How the Node services of the market are instrumented: the OpenTelemetry SDK for Node with the official
// instrumentations of http and gRPC, its batches as they are by default, OTLP over HTTP as JSON. To be required before
// anything that is instrumented. The only addition is a count of the spans that ended, an oracle for laghound's books.
"use strict";

const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { GrpcInstrumentation } = require("@opentelemetry/instrumentation-grpc");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

let spans = 0;
const counter = {
  onStart() {},
  onEnd() {
    spans += 1;
  },
  async forceFlush() {},
  async shutdown() {},
};

/** Instruments this process as `service`. */
exports.start = (service) => {
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    spanProcessors: [counter, new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  registerInstrumentations({ instrumentations: [new HttpInstrumentation(), new GrpcInstrumentation()] });

  // One line for whoever started this process.
  const say = (event) => console.log(JSON.stringify({ service, ...event }));
  /** Says where it listens; after SIGTERM runs `close`, flushes, and says how many spans ended here. */
  return (port, close) => {
    process.on("SIGTERM", async () => {
      await close();
      await provider.shutdown();
      say({ event: "done", spans });
      process.exit(0);
    });
    process.on("SIGINT", () => {});
    say({ event: "ready", port });
  };
};

/** Own work: a wait of about so many milliseconds, skewed as real work is. */
exports.work = (usual) => {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return new Promise((done) => setTimeout(done, usual * Math.exp(0.25 * normal)));
};
