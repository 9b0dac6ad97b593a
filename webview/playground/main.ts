/** Playground's page. */
import './main.css';
import './root.ts';
import { playgroundFault } from '../../src/protocol/playground.ts';
import { startPage } from '../parts/page.ts';

startPage('moe-playground', playgroundFault);
