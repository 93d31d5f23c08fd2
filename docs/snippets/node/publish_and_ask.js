// Tell Goldenpath what turned out to be true for a prediction, then ask what serves.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { Kafka, Partitioners } from "kafkajs";

const protos = fileURLToPath(new URL("../../../protos", import.meta.url));
const { KAFKA, DEPLOYER, TOKEN, MODEL, RECORD_ID, ARM, PROBABILITY } = process.env;

// Publish outcome.recorded: a CloudEvent in one JSON object (structured mode).
async function publish(model, served) {
  const now = new Date().toISOString();
  const event = {
    specversion: "1.0",
    id: randomUUID(), // publish a retry with the same id: it counts once
    source: "billing", // your system
    type: "outcome.recorded",
    subject: `model/${model}`,
    time: now,
    data: { model, label: "1", occurredAt: now, ...served },
  };
  const headers = { "content-type": "application/cloudevents+json" };
  const producer = new Kafka({ brokers: [KAFKA] }).producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({
    topic: "inference.outcomes",
    messages: [{ key: event.subject, value: JSON.stringify(event), headers }],
  });
  await producer.disconnect();
}

// Ask for the deployment; an answer takes at most 5 seconds.
async function ask(model) {
  const options = { includeDirs: [protos], enums: String, longs: String };
  const loaded = grpc.loadPackageDefinition(loadSync("goldenpath/deployer/v1/deployer_service.proto", options));
  const client = new loaded.goldenpath.deployer.v1.DeployerService(DEPLOYER, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${TOKEN}`);
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer.deployment));
    client.GetDeployment({ model }, metadata, { deadline: Date.now() + 5000 }, done);
  });
}

// What the prediction's response said: keep it until you know the outcome.
const served = { recordId: RECORD_ID, arm: `ARM_${ARM.toUpperCase()}`, assignmentProbability: Number(PROBABILITY) };

await publish(MODEL, served);
console.log(JSON.stringify(await ask(MODEL), null, 2));
