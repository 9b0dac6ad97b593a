/** Plan editor's page. */
import './main.css';
import './root.ts';
import { plannerFault } from '../../src/protocol/planner.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-planner', plannerFault);
