package reports

func (j *judge) audit() {}

func (j *judge) registersDriver() bool { return false }
