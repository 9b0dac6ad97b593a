/** Checkpoint editor's page. */
import './main.css';
import './root.ts';
import { viewerFault } from '../../src/protocol/viewer.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-viewer', viewerFault);
