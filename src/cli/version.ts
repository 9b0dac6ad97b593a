import packageJson from '../../package.json' with { type: 'json' };

/** Version of the program, from package.json. */
export const VERSION: string = packageJson.version;

/** Version of ONNX Runtime that models are run with: pinned exactly in package.json. */
export const ORT_VERSION: string = packageJson.dependencies['onnxruntime-node'];
