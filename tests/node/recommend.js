// Calls the gateway as a Node service would: the protos are read as they are, nothing is generated.
// Usage: node recommend.js HOST:PORT PROTO_ROOT ITEM_ID...
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [target, protoRoot, ...history] = process.argv.slice(2);
const contract = grpc.loadPackageDefinition(
  protoLoader.loadSync("shortlist/gateway/v1/gateway.proto", { includeDirs: [protoRoot], keepCase: true }),
);
const client = new contract.shortlist.gateway.v1.RecommendationService(target, grpc.credentials.createInsecure());

const deadline = new Date(Date.now() + 10_000);
client.Recommend({ history_item_ids: history, limit: 5, explain: true }, { deadline }, (error, answer) => {
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
  } else {
    console.log(JSON.stringify(answer));
  }
  client.close();
});
