import type { SimulationOptions } from '@thermocline/testkit'

/** Real managers, for simulations. */
export declare const MANAGERS: SimulationOptions
