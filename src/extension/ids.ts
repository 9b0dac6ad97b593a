/** Every id that package.json contributes, in one table. test/extension/contributions.test.ts holds them together. */

export const VIEW_TYPES = {
  checkpoint: 'moe.checkpoint',
  /** The same editor for an index, which opens as text unless asked: a view type has one priority. */
  index: 'moe.checkpointIndex',
  folder: 'moe.checkpointFolder',
  plan: 'moe.plan',
  compare: 'moe.compare',
  results: 'moe.results',
  playground: 'moe.playground',
} as const;

export const VIEWS = {
  checkpoints: 'moe.checkpoints',
  experts: 'moe.experts',
  heatmap: 'moe.heatmap',
  jobs: 'moe.jobs',
} as const;

/** Context keys for `when` clauses. */
export const CONTEXT_KEYS = {
  /** Paths of folders that hold a checkpoint. */
  folders: 'moe.checkpointFolders',
  /** The workspace has been looked through: `folders` is complete. */
  scanned: 'moe.scanned',
  /** Something was selected for comparing. */
  compareSelected: 'moe.compareSelected',
  /** The checkpoint in the active editor: `dense`, `moe`, `unknown`, or ''. */
  activeKind: 'moe.activeKind',
  /** It was written by this extension. */
  activeUpcycled: 'moe.activeUpcycled',
  /** Jobs that have ended, to clear. */
  hasEndedJobs: 'moe.hasEndedJobs',
} as const;

export const COMMANDS = {
  openFolder: 'moe.openFolder',
  open: 'moe.open',
  openSample: 'moe.openSample',
  upcycle: 'moe.upcycle',
  previewPlan: 'moe.previewPlan',
  runPlan: 'moe.runPlan',
  routerLab: 'moe.routerLab',
  newRecipe: 'moe.newRecipe',
  verify: 'moe.verify',
  revert: 'moe.revert',
  examine: 'moe.examine',
  rebuildIndex: 'moe.rebuildIndex',
  selectForCompare: 'moe.selectForCompare',
  compareWithSelected: 'moe.compareWithSelected',
  compare: 'moe.compare',
  reveal: 'moe.reveal',
  refresh: 'moe.refresh',
  removeRecent: 'moe.removeRecent',
  computeExperts: 'moe.computeExperts',
  copyPath: 'moe.copyPath',
  copyDiagnostics: 'moe.copyDiagnostics',
  showLog: 'moe.showLog',
  devices: 'moe.devices',
  openWalkthrough: 'moe.openWalkthrough',
  openSettings: 'moe.openSettings',
  evaluate: 'moe.evaluate',
  trace: 'moe.trace',
  playground: 'moe.playground',
  openResults: 'moe.openResults',
  removeEvaluation: 'moe.removeEvaluation',
  focusJobs: 'moe.focusJobs',
  jobCancel: 'moe.job.cancel',
  jobResume: 'moe.job.resume',
  jobRerun: 'moe.job.rerun',
  jobLog: 'moe.job.showLog',
  jobReport: 'moe.job.showReport',
  jobOpenResult: 'moe.job.openResult',
  jobRemove: 'moe.job.remove',
  jobsClear: 'moe.jobs.clear',
} as const;

export const TASK_TYPE = 'moe';
/** Scheme of read-only documents: logs and reports of jobs, plans as text. */
export const TEXT_SCHEME = 'moe-text';
