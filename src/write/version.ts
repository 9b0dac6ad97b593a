import packageJson from '../../package.json' with { type: 'json' };

/** Version of this tool, as written into journals and manifests. */
export const TOOL_VERSION: string = packageJson.version;
export const TOOL_NAME = 'MoE Workbench';
