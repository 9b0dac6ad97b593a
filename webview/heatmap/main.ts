/** Sidebar's heat map page. */
import './main.css';
import './root.ts';
import { heatmapFault } from '../../src/protocol/heatmap.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-sidebar', heatmapFault);
