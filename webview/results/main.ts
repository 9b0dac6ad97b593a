/** Results editor's page. */
import './main.css';
import './root.ts';
import { resultsFault } from '../../src/protocol/results.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-results', resultsFault);
