/* Labels one picture with a network that `fleetseg export --format onnx` wrote, and prints how much of it each class has.
 *
 *   fleetseg export enet-camvid --format onnx --size 480x360 --preprocess --head classes --out street.onnx
 *   ONNXRUNTIME_NODE_INSTALL=skip npm install      (processors alone; without "skip" it fetches CUDA's libraries)
 *   node segment.js street.onnx street.ppm classes.pgm
 *
 * The picture is a binary PPM (P6) of the size that was exported; the classes are written as a binary PGM.
 */
"use strict";

const fs = require("node:fs");
const { InferenceSession, Tensor } = require("onnxruntime-node");

/** The pixels of a binary PPM, row by row, RGB interleaved. */
function readPicture(path, width, height) {
  const content = fs.readFileSync(path);
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(content.toString("latin1", 0, 64));
  if (!header || Number(header[1]) !== width || Number(header[2]) !== height) {
    throw new Error(`${path}: a binary PPM of ${width}x${height} is needed`);
  }
  const pixels = content.subarray(header[0].length, header[0].length + width * height * 3);
  if (pixels.length < width * height * 3) {
    throw new Error(`${path}: is cut short`);
  }
  return Uint8Array.from(pixels);
}

function printShares(classes) {
  const counts = new Array(256).fill(0);
  for (const id of classes) counts[id] += 1;
  counts.forEach((count, id) => {
    if (count > 0) console.log(`class ${id}: ${((100 * count) / classes.length).toFixed(2)}%`);
  });
}

async function main(model, picture, out) {
  fs.accessSync(model);
  const session = await InferenceSession.create(model, { executionProviders: ["cpu"] });
  const [{ type, shape }] = session.inputMetadata;
  if (type !== "uint8" || shape.some((side) => typeof side !== "number")) {
    throw new Error(`${model}: export it with --size, --preprocess and --head classes`);
  }
  const [, height, width] = shape;
  const image = new Tensor("uint8", readPicture(picture, width, height), [1, height, width, 3]);
  const results = await session.run({ [session.inputNames[0]]: image });
  const classes = results[session.outputNames[0]];
  const [, rows, columns] = classes.dims;
  printShares(classes.data);
  fs.writeFileSync(out, Buffer.concat([Buffer.from(`P5 ${columns} ${rows} 255\n`), Buffer.from(classes.data)]));
}

if (process.argv.length !== 5) {
  console.error("usage: node segment.js MODEL.onnx PICTURE.ppm CLASSES.pgm");
  process.exit(2);
}
main(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
