/** Comparison editor's page. */
import './main.css';
import './root.ts';
import { compareFault } from '../../src/protocol/compare.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-compare', compareFault);
