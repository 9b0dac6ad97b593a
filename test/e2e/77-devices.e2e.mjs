// Where models can run: every device is tried, the reasons and the steps to a GPU are shown, the command is typed and not entered.
import assert from 'node:assert/strict';

export const tests = [
  {
    name: 'Set Up GPU tries the devices and explains',
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'tiny-llama');
    },
    seconds: 180,
    // Else a terminal is a canvas, without text to read.
    settings: { 'terminal.integrated.gpuAcceleration': 'off' },
    async run(w) {
      await w.ready('tiny-llama');
      await w.command('MoE: Set Up GPU…');
      const lines = w.page.locator('.editor-group-container.active .monaco-editor .view-lines');
      const text = await w.until(
        'the devices',
        async () => ((await lines.count()) === 0 ? '' : (await lines.first().innerText()).replaceAll('\u00a0', ' ')),
        (is) => is.includes('webgpu'),
        { ms: 90_000 },
      );
      assert.match(text, /cpu +CPU +works/);
      assert.match(text, /cuda +NVIDIA CUDA +not available +its provider is not installed/);
      assert.ok(text.includes('To run on an NVIDIA GPU'), text);
      const toast = w.toast('Models can run on: cpu');
      await toast.waitFor();
      await w.shot('devices');
      await toast.getByText('Put the Command into a Terminal').click();
      const rows = w.page.locator('.terminal .xterm-rows');
      const typed = await w.until(
        'the command in the terminal',
        async () =>
          (await rows.count()) === 0
            ? ''
            : (await rows.first().innerText()).replaceAll('\u00a0', ' ').replace(/\s+/g, ''),
        (is) => /onnxruntime-node-install|nuget\.org/.test(is),
        { ms: 30_000 },
      );
      assert.ok(!/Downloading|Saving/.test(typed), typed);
      await w.shot('devices-terminal');
    },
  },
];
