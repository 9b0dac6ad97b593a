/** Sidebar's heat map page. */
import './main.css';
import './root.ts';
import { heatmapFault } from '../../src/protocol/heatmap.ts';
import { startPage } from '../lib/page.ts';

startPage('moe-sidebar', heatmapFault);
