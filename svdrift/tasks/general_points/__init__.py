"""GeneralPoints: reach a target number with the values of four playing cards."""
