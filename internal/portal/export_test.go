package portal

// Route is what a portal answers: a method, and a path that may end in a parameter.
type Route struct{ Method, Path string }

// ParameterMark ends the path of a route that has a parameter.
const ParameterMark = parameterMark

// Routes are all that a portal of the configuration answers.
func Routes(config Config) (all []Route) {
	for _, r := range (&Portal{config: config}).allRoutes() {
		all = append(all, Route{r.method, r.path})
	}
	return all
}
