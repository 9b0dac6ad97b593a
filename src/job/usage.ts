/** What this process uses, right now. */
import type { JobUsage } from '../protocol/jobs.ts';

export function usageNow(): JobUsage {
  const { user, system } = process.cpuUsage();
  const rssBytes = process.memoryUsage.rss();
  const seconds = process.uptime();
  const cpuSeconds = (user + system) / 1e6;
  return {
    pid: process.pid,
    rssBytes,
    peakRssBytes: Math.max(rssBytes, process.resourceUsage().maxRSS * 1024),
    cpuSeconds,
    cpuLoad: seconds > 0 ? cpuSeconds / seconds : 0,
    seconds,
    // Whoever answers is not busy.
    busySeconds: 0,
  };
}
