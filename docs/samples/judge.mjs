// Judges photographs with an exported detector in Node: one line for each binary PPM (P6, 8 bits) with its score and label.
//
//   anomaly export RUN --format onnx
//   npm install onnxruntime-web
//   node judge.mjs results/runs/RUN/exports/model.onnx part.ppm another.ppm
//
// Resizing, normalization and thresholds are in the file: it takes RGB from 0 to 1, of any height and width. judge.html is
// the same for a browser, which decodes photographs itself.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The package is looked for from the working folder, wherever this file lies.
const ort = createRequire(pathToFileURL(`${process.cwd()}/`))("onnxruntime-web");

/** Return a photograph as a tensor of shape (1, 3, height, width). */
function read(path) {
  const content = readFileSync(path);
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(content.subarray(0, 64).toString("latin1"));
  if (!header) throw new Error(`${path} is no binary PPM of 8 bits`);
  const [width, height] = [Number(header[1]), Number(header[2])];
  const pixels = content.subarray(header[0].length);
  const count = width * height;
  if (pixels.length < 3 * count) throw new Error(`${path} is cut short`);
  const planes = new Float32Array(3 * count); // red, green, blue, each row by row
  for (let place = 0; place < count; place++) {
    for (let color = 0; color < 3; color++) {
      planes[color * count + place] = pixels[3 * place + color] / 255;
    }
  }
  return new ort.Tensor("float32", planes, [1, 3, height, width]);
}

const [model, ...photographs] = process.argv.slice(2);
if (!photographs.length) {
  console.error("usage: node judge.mjs model.onnx photograph.ppm ...");
  process.exit(1);
}
try {
  const session = await ort.InferenceSession.create(readFileSync(model));
  for (const path of photographs) {
    const { score, label } = await session.run({ images: read(path) }, ["score", "label"]);
    console.log(`${path}\t${score.data[0].toPrecision(6)}\t${label.data[0] ? "abnormal" : "normal"}`);
  }
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}
